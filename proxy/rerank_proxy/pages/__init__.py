"""The pages that a person opens on the admin port: the playground, and the status of the proxy."""
