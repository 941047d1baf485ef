"""Lightning: module, data, callbacks, command line."""
