"""Compares models and prompts on people's past conversations."""
