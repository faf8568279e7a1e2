"""`python -m tests.sims.slack --port N --rtt S`."""

from tests.sims.kit import main
from tests.sims.slack.sim import SlackServer

if __name__ == "__main__":
    main(SlackServer)
