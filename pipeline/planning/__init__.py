"""Self-configuration: what a folder of annotated scans looks like → a whole experiment, each choice with its reason.

As nnU-Net (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z) and nnDetection (Baumgartner et al. 2021, arXiv
2106.00817) do it: a fingerprint of the data, then fixed rules. Order of work: `kinds` (which scans), `dividing` (who is
held back), `fingerprint` (`objects`, `intensities`), the rules (`spacing`, `intensity`, `network`, `patches`, `budget`,
`variation`, `judging`), `plan` (all of it), `writing` and `picture` (the YAML file, the histograms).
"""

from pipeline.planning.plan import Plan, Wish, make_plan

__all__ = ["Plan", "Wish", "make_plan"]
