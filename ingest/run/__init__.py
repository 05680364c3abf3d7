"""One run over many masters: plan, encode, package, publish."""
