"""Folders of models for Triton Inference Server."""
