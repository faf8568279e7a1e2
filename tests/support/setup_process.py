"""`python -m tests.support.setup_process PORT WORDS…`: `threadline WORDS`, with PORT as the port on
which it looks for a local server."""

from __future__ import annotations

import sys

from bot.__main__ import main
from bot.llm import local_servers
from bot.llm.local_servers import LocalServer

if __name__ == "__main__":
    local_servers.ANSWER_SECONDS = 60.0
    _, port, *words = sys.argv
    sys.exit(main(words, local_servers=[LocalServer("Ollama", "ollama", int(port))]))
