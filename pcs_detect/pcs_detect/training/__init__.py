"""Everything that needs torch, OpenMMLab or pcs_augment: the installation with the extra ``train``."""
