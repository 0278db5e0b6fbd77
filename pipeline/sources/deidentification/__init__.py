"""De-identification by DICOM PS3.15 annex E: what is removed, replaced and kept, and what tells so."""
