"""Files and links of messages: downloaded, read in a sandbox, and stored as text and images."""
