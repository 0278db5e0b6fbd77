"""A seeded sample archive, as a hospital's would look: what is written, and in which format.

::

    <root>/ct/CT001/IM0001.dcm …        CT Image Storage, one file a slice; some oblique, some with slices
                                        stored from head to foot, some with unequal pixel spacing
    <root>/mr/MR001.nii.gz …            MR-like NIfTI volumes; the last file is cut off
    <root>/cells/he/HE001.png …         H&E-like fields (RGB), some as VL Microscopic Image Storage (``.dcm``)
    <root>/cells/fluorescence/FL001.png fluorescence-like fields (8-bit grey)
    <root>/annotations/boxes.json       boxes: CT, H&E, two MR volumes
    <root>/annotations/centres.csv      centre points: some fluorescence fields
    <root>/annotations/labels/*         label maps: the other fluorescence fields (16-bit PNG) and MR volumes (NIfTI)
    <root>/annotations/label_classes.csv  class of each label-map value
    <root>/annotations/index.csv        patient, subset and stain of each image
    <root>/README.txt, sample.json      what this is; how it was made

File stems (for a CT series: its folder's name) are unique in the archive. Each image is annotated in one form.

``boxes.json``::

    {"format": "cellscan-boxes-1",
     "scans": [{"series_instance_uid": "2.25.…",      DICOM, also the single-image series of H&E fields; or
                "file": "mr/MR001.nii.gz",            other files: path from the archive root, with "/"
                "frame": "lps_mm",                    or "ras_mm" (NIfTI), or "px" (2D fields)
                "objects": [{"label": "lesion", "centre": [x, y, z], "size": [si, sj, sk], "axes": "array"}]}]}

``centre`` is in the frame; ``size`` is the full edge length along the ARRAY axes (i, j, k) in the frame's unit,
so that a box on an oblique series is exact. In the frame ``px`` a centre is a pixel index (0 is the CENTRE of the
first pixel, x along columns = i, y along rows = j) and the size is in pixels, also where the image has a physical
pixel spacing. ``"objects": []`` says that the scan was looked at and has no finding. A cell that the field's edge
cuts has the box of its visible part.

``centres.csv``: ``image_id,x_px,y_px,label``. ``image_id`` is the file stem; coordinates count from the EDGE of the
first pixel (index = x - 0.5). ``unlabelled`` is a nucleus without a class.

``labels/<stem>.png`` or ``.nii.gz``: 0 is background, each other value one object; all zeros: no finding. A NIfTI
label map has the affine of its image. ``label_classes.csv``: ``image_id,value,label``.

``index.csv``: ``file,patient_id,split,stain``. ``file`` is a path from the archive root, of a file or (CT) of the
folder that holds one series. ``split`` is ``train``, ``val`` or ``public_test``. ``stain`` is ``he``,
``fluorescence`` or empty. Patient ids equal those in the DICOM headers.

Meant for quarantine: one CT series with a missing slice, one cut-off DICOM file, one cut-off NIfTI file. They have
no annotation and no row in the index. Everything is generated: no patient stands behind any of it.
"""
