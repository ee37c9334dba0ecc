"""The daemon that gets every file of the Prime Focus Spectrograph into its Butler repository."""
