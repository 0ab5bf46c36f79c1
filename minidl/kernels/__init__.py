"""The inner loops: plain functions of ndarrays, without derivatives."""
