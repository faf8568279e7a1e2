"""The web adapter: the page, the HTTP API, and the port with /healthz."""
