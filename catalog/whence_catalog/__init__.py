"""The rules of the catalog, and the SQL and blob stores behind them."""
