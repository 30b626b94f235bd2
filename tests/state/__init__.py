"""Tests of durable state."""
