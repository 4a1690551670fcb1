"""The sections of the settings table: every setting is a field of one of them."""
