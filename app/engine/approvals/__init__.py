"""Approvals: what people are asked, who may answer, and what follows from answers and from none."""
