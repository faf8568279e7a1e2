"""A model server, OpenAI-compatible and as strict: scripted answers, paced tokens, faults."""

from tests.sims.model.answers import Answer, count_tokens
from tests.sims.model.client import ModelSim
from tests.sims.model.play import Record

__all__ = ["Answer", "ModelSim", "Record", "count_tokens"]
