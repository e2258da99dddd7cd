"""Certificates of the whole cluster in the database, their keys sealed; and what is ordered of authorities."""

from posthorn_storage.certificates.store import CertificateRecord, CertificateStore, NewCertificate

__all__ = ["CertificateRecord", "CertificateStore", "NewCertificate"]
