"""Files and links that people attach: downloading them and reading them."""
