"""Downloads the files and links of messages, reads them in a sandbox, and stores the results."""
