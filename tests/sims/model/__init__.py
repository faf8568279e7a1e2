"""A simulated OpenAI-compatible model server: strict, with scripted answers, pacing and faults."""

from tests.sims.model.answers import Answer, count_tokens
from tests.sims.model.client import ModelSim
from tests.sims.model.player import Record

__all__ = ["Answer", "ModelSim", "Record", "count_tokens"]
