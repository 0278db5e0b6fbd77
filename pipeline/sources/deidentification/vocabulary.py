"""Free text with nothing but words of a medical vocabulary: how descriptors are cleaned (PS3.15 E.3.5)."""

import re

from pipeline.sources.deidentification.words import words

_WORDS = words("""
    2d 3d 4d abd abdomen abdominal abscess acetabulum acquisition adc adenocarcinoma adenoma adrenal after air
    aligned amygdala anatomy angio angiography ankle annotation anterior aorta ap apex arm arterial artery aspect
    assessment atlas atrium attenuation average avg ax axial b background baseline before benign bilateral biopsy
    bladder body bold bolus bone both bowel brachial brain brainstem breast bronchus bulk ca calcification
    carcinoma cardiac carotid caudal cc cell cells cerebellum cerebral cervical cervix chemo chest clavicle
    clinical cochlea collimated colon colour color cone contour contrast cor coronal coronary corrected cortex
    craniocaudal cranium ct cta ctv cube cxr cyst data decubitus defect delayed density derived detection
    diaphragm dicom diffuse diffusion discs disk distal dixon dose dual duodenum dwi dynamic dti early ecg echo
    edema effusion elbow endorectal enhanced epi esophagus exam excretory expiration expiratory external eye eyes
    face fast fat fatsat fdg femoral femur ffe fibroblast fibrosis filter finding findings fine finger flair flow
    fluid fluorescence fluoroscopy fmri follow foot forearm fossa frame frontal full functional fused fusion gad
    gadolinium gallbladder gating gd gland glioblastoma glioma gradient gre gtv guided h&e half hand haste he head
    heart hematoma hematoxylin eosin hemorrhage hepatic hi high hilum hip hippocampus hr hrct humerus icv image
    images imaging in infarct inferior inflammatory inner inspiration inspiratory internal intra ir ischemia
    isotropic iv jaw joint kernel kidney kidneys knee label larynx late lateral left leg lesion lesions level
    lexicon ligament line liver lobe localiser localizer long low lower lumbar lumen lung lungs lymph lymphoma mag
    magnitude malignant mammo mammography mandible map mask mass maxilla mean medial mediastinal mediastinum
    median medium melanoma meningioma metastasis metastases mets microscopy mid middle mip mixed mlo mm motion mpr
    mprage mr mra mri multi muscle myocardium nasal native nasopharynx navigator neck necrosis neg nerve neuro no
    node nodes nodule nodules non none normal nose nuclei nucleus oblique occipital of oil optic oral orbit organ
    out outer ovary overview pa palette pancreas parallel parametric parietal parotid part patella pathology pc pd
    pelvic pelvis perfusion peritoneum pet pharynx phase phantom physiological pituitary pixel plain plan plane
    planning pleura pleural polyp portal position post posterior pre primary probability process projection prone
    prostate protocol proximal ptv pulmonary quantitative radius ratio raw reconstruction rectum reference
    reformat reformatted region registered renal res rescale resolution resting restricted reverse rib ribs right
    roi rt sacrum sag sagittal saturation scan scanned scapula scout se secondary segment segmentation segmented
    sella seminal sense sequence series serial shoulder side sinus sinuses skin skull slab slice slices slide
    small smear soft space specimen spectroscopy spect spin spinal spine spiral spleen spoiled stack staging stain
    stained standard std steady sternum stir stomach stroke structure study sub superior supine suppressed
    suppression survey susceptib susceptibility suv swi t t1 t1w t2 t2* t2w table target tdm temporal tendon test
    testis thalamus thick thickness thigh thin thoracic thorax thrombus thyroid tibia time tissue to tof tongue
    topogram torso total tra trachea tracking trans transverse treatment tse tumor tumour turbo ulna ultrasound
    upper ureter urethra urinary uterus vagina vascular vein venous ventral ventricle vertebra vertebrae vesicle
    vessel view vitreous vol volume w water wb weighted white whole width window with without wo wrist x xray zoom
    """)
# A number with at most three digits before its point, with or without a unit: 5, 2.5mm, b1000, 120kV, 3T, L3, C5/6.
_NUMBER = re.compile(
    r"(?:b\d{1,4}|[tlcs]?\d{1,3}(?:\.\d{1,2})?(?:mm|cm|um|kv|kvp|ma|mas|ms|s|sec|min|t|d|x|deg|%|hu)?)"
)
# What may be a date: three numbers, or two, with a point, a stroke or a dash between them.
_DATE_LIKE = re.compile(r"\d+(?:[./\-]\d+){2,}|\d+[/\-]\d+")
# Half of it would say the opposite.
_WITHOUT = re.compile(r"\bw/o\b", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s_,;:()\[\]{}<>+=|/\\\-\"']+")


def cleaned(text: str) -> str:
    """The words of ``text`` that are in the vocabulary, and short numbers, with one blank between them."""
    parts = _SEPARATORS.split(_DATE_LIKE.sub(" ", _WITHOUT.sub("without", text)))
    return " ".join(part for part in parts if _is_safe(part.lower().strip(".")))


def _is_safe(word: str) -> bool:
    return word in _WORDS or _NUMBER.fullmatch(word) is not None
