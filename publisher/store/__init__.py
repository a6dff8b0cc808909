"""Data that survives a power cut: records, totals, the visitor log."""
