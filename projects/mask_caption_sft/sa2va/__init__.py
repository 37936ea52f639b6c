"""The network behind two verbs, describe and segment."""
