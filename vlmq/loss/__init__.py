"""Pure functions of tensors: returns, critic losses, advantage filters, actor loss."""
