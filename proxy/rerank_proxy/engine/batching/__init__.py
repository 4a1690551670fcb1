"""Queue rows, form batches of them, and run these on the device."""
