"""The admission rules, by what they look at. `tslg.protocol.admission` puts them in order and runs them."""
