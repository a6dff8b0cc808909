"""`tentwatch demo`: the agent on simulated devices, with a broker of its own."""
