"""Compares models and prompts on conversations that people had."""
