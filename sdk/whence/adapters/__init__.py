"""Orchestrators that carry plans out: one thin file for each; none imports another, nor is one imported unasked."""
