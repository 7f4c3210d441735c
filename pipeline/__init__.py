"""From a folder of photos to a scored submission: photos, folds, training, prediction, calibration."""
