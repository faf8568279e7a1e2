"""A simulated OpenAI-compatible model server: strict, with scripted answers, pacing and faults."""

from tests.sims.model.answers import Answer, count_tokens
from tests.sims.model.client import ModelSim
from tests.sims.model.player import Record
from tests.sims.model.speech import Recording, Speech

__all__ = ["Answer", "ModelSim", "Record", "Recording", "Speech", "count_tokens"]
