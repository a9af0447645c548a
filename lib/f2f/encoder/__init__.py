"""The encoders: exact (Algorithm 3), beam, shaping; and the choice of the rate."""
