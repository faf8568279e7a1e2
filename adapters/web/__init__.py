"""HTTP: health, and the routes that other adapters lend it."""
