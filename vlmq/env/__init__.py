"""Environments: discovery, pools, and the bridge to TorchRL."""
