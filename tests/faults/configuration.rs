//! C: what is set up wrongly is found when it is built or imported.
