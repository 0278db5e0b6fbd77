"""The option columns of PS3.15 Table E.1-1: which of its attributes an option keeps (K) or cleans (C).

Dates and times, and UIDs, need no list: their columns follow from the value representation and from action U.
"""

from pipeline.sources.deidentification.words import words

DEVICE_KEEPS = words("""
    CassetteID DetectorID DeviceDescription DeviceLabel DeviceSerialNumber DeviceUID GantryID GeneratorID LensMake
    LensModel LensSerialNumber LensSpecification ManufacturerDeviceClassUID ManufacturerDeviceIdentifier
    PerformedStationAETitle PerformedStationGeographicLocationCodeSequence PerformedStationName
    PerformedStationNameCodeSequence PlateID ScheduledProcedureStepLocation ScheduledStationAETitle
    ScheduledStationGeographicLocationCodeSequence ScheduledStationName ScheduledStationNameCodeSequence
    ScheduledStudyLocation ScheduledStudyLocationAETitle SourceManufacturer SourceSerialNumber StationName
    TransducerIdentificationSequence TreatmentMachineName UDISequence UniqueDeviceIdentifier XRayDetectorID
    XRayDetectorLabel XRaySourceID
    """)

INSTITUTION_KEEPS = words("""
    ClinicalTrialCoordinatingCenterName ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialSiteID
    ClinicalTrialSiteName InstitutionAddress InstitutionCodeSequence InstitutionName InstitutionalDepartmentName
    InstitutionalDepartmentTypeCodeSequence
    """)

PATIENT_KEEPS = words("""
    EthnicGroup PatientAge PatientSex PatientSexNeutered PatientSize PatientWeight PregnancyStatus SmokingStatus
    """)

PATIENT_CLEANS = words("Allergies PatientState PreMedication SpecialNeeds")

# Besides every attribute of action U.
UIDS_KEEP = words("""
    ReferencedImageSequence ReferencedPerformedProcedureStepSequence ReferencedStudySequence SourceImageSequence
    """)

STRUCTURED_CLEANS = frozenset(["AcquisitionContextSequence", "ContentSequence", "SpecimenPreparationSequence"])

# Curves and overlays are bitmaps that nobody has looked at: they go with this option too.
GRAPHICS_CLEANS = frozenset(["GraphicAnnotationSequence"])

DESCRIPTORS_CLEAN = words("""
    AcquisitionComments AcquisitionDeviceProcessingDescription AcquisitionProtocolDescription
    AdditionalPatientHistory AdmittingDiagnosesCodeSequence AdmittingDiagnosesDescription Allergies
    BeamDescription BolusDescription ClinicalTrialSeriesDescription ClinicalTrialTimePointDescription
    CommentsOnThePerformedProcedureStep CompensatorDescription ConceptualVolumeCombinationDescription
    ConceptualVolumeDescription ContainerDescription ContrastBolusAgent ContributionDescription
    DecompositionDescription DerivationDescription DeviceSettingDescription DischargeDiagnosisDescription
    DoseReferenceDescription EntityDescription EntityLabel EntityLongLabel EntityName
    EquipmentFrameOfReferenceDescription FixationDeviceDescription FractionGroupDescription FractionationNotes
    FrameComments IdentifyingComments ImageComments ImagingServiceRequestComments Impressions InterlockDescription
    InterlockOriginDescription InterpretationDiagnosisDescription InterpretationText LabelText
    LongDeviceDescription MedicalAlerts MultienergyAcquisitionDescription Occupation PatientComments PatientState
    PerformedProcedureStepDescription PrescriptionDescription PrescriptionNotes PrescriptionNotesSequence
    PriorTreatmentDoseDescription ProtocolName RadiationDoseIdentificationLabel
    RadiationDoseInVivoMeasurementLabel RadiationGenerationModeDescription RadiationGenerationModeLabel
    ReasonForOmissionDescription ReasonForRequestedProcedureCodeSequence ReasonForStudy ReasonForSuperseding
    ReasonForTheImagingServiceRequest ReasonForTheRequestedProcedure ReasonForVisit ReasonForVisitCodeSequence
    RequestAttributesSequence RequestedContrastAgent RequestedProcedureComments RequestedProcedureDescription
    RequestedSeriesDescription RespiratoryMotionCompensationTechniqueDescription ResultsComments ROIDescription
    ROIGenerationDescription ROIName ROIObservationDescription ROIObservationLabel RTPhysicianIntentNarrative
    RTPlanDescription RTPlanLabel RTPlanName RTPrescriptionLabel RTToleranceSetLabel RTTreatmentApproachLabel
    ScheduledProcedureStepDescription SeriesDescription ServiceEpisodeDescription SetupTechniqueDescription
    ShieldingDeviceDescription SpecimenDetailedDescription SpecimenShortDescription StructureSetDescription
    StructureSetLabel StructureSetName StudyComments StudyDescription TreatmentPositionGroupLabel TreatmentSite
    TreatmentTechniqueNotes TreatmentToleranceViolationDescription UserContentLabel UserContentLongLabel
    VisitComments
    """)

# Birth is no part of the longitudinal record: no date option keeps it.
NEVER_DATED = frozenset(["PatientBirthDate", "PatientBirthTime"])
