"""The key of a step: digests of its code, shared code, modules, parameters, inputs, packages and environment."""
