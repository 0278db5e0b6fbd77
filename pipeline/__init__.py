"""cellscan: from an archive of scans to compared model versions.

The way of a scan, one folder a step, in order:

====================  ================================================  =======================================
step                  what it does                                      entry
====================  ================================================  =======================================
`pipeline.sources`    archive → series; refuses what contradicts itself ``sources.ingest.ingest``
`pipeline.volumes`    series → volume and annotations on one grid       ``volumes.store.VolumeStore``
`pipeline.transforms` volume → network input; variation in training     ``transforms.preprocessing.prepare``
`pipeline.datasets`   volumes → cases, split by patient → patches       ``datasets.split.split_cases``
`pipeline.detectors`  network input → score, class and box everywhere   ``detectors.detector.Detector``
`pipeline.training`   patches → the weights that validate best          ``training.train.train``
`pipeline.inference`  volume → detections; an archive, each scan once   ``inference.archive.detect_volumes``
`pipeline.detections` the record of what was found, and its exports     ``detections.Detections``
`pipeline.evaluation` detections against annotations, with intervals    ``evaluation.evaluate``, ``.compare``
`pipeline.tracking`   runs, model versions, aliases (MLflow)            ``tracking.registry``
`pipeline.reporting`  figures and one HTML page                         ``reporting.report.write_report``
`pipeline.stages`     one function for each command, made of the above  ``stages.train.train_version`` …
====================  ================================================  =======================================

Beside them: `pipeline.geometry` (grids and boxes that carry their frame), `pipeline.config` (one YAML, one experiment),
`pipeline.settings` (where it runs), `pipeline.sample` (generated scans), `pipeline.starters` (models that come with
cellscan), `pipeline.errors`, `pipeline.types`, `pipeline.cli` (the command). The folder `flows` orchestrates the stages
with Prefect and computes nothing.
"""
