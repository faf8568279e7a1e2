"""`python -m tests.sims.model --port N --rtt S`: one simulated model server."""

from tests.sims.kit import main
from tests.sims.model.server import ModelServer

if __name__ == "__main__":
    main(ModelServer)
