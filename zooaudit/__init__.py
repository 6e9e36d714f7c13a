"""zooaudit: was this suspect model stolen from mine?"""

__version__ = "0.2.0"
