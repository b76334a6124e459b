"""Interfaces of other libraries over Seesaw."""
