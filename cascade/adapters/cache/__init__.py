"""Cache policies, and the stores behind them."""
