"""Readable names of structures and groups, in each language."""

from __future__ import annotations

import re

from tomoseg.settings import Language

_M, _F = ("gauche", "droit"), ("gauche", "droite")

_FRENCH: dict[str, tuple[str, tuple[str, str]]] = {
    "spleen": ("rate", _F),
    "kidney": ("rein", _M),
    "gallbladder": ("vésicule biliaire", _F),
    "liver": ("foie", _M),
    "stomach": ("estomac", _M),
    "pancreas": ("pancréas", _M),
    "adrenal_gland": ("glande surrénale", _F),
    "lung_upper_lobe": ("lobe supérieur du poumon", _M),
    "lung_middle_lobe": ("lobe moyen du poumon", _M),
    "lung_lower_lobe": ("lobe inférieur du poumon", _M),
    "lung": ("poumon", _M),
    "esophagus": ("œsophage", _M),
    "trachea": ("trachée", _F),
    "thyroid_gland": ("glande thyroïde", _F),
    "small_bowel": ("intestin grêle", _M),
    "duodenum": ("duodénum", _M),
    "colon": ("côlon", _M),
    "urinary_bladder": ("vessie", _F),
    "prostate": ("prostate", _F),
    "kidney_cyst": ("kyste du rein", _M),
    "sacrum": ("sacrum", _M),
    "heart": ("cœur", _M),
    "aorta": ("aorte", _F),
    "pulmonary_vein": ("veine pulmonaire", _F),
    "brachiocephalic_trunk": ("tronc brachiocéphalique", _M),
    "brachiocephalic_vein": ("veine brachiocéphalique", _F),
    "subclavian_artery": ("artère subclavière", _F),
    "common_carotid_artery": ("artère carotide commune", _F),
    "atrial_appendage": ("auricule", _F),
    "superior_vena_cava": ("veine cave supérieure", _F),
    "inferior_vena_cava": ("veine cave inférieure", _F),
    "portal_vein_and_splenic_vein": ("veines porte et splénique", _F),
    "iliac_artery": ("artère iliaque", _F),
    "iliac_vena": ("veine iliaque", _F),
    "humerus": ("humérus", _M),
    "scapula": ("scapula", _F),
    "clavicula": ("clavicule", _F),
    "femur": ("fémur", _M),
    "hip": ("os coxal", _M),
    "spinal_cord": ("moelle épinière", _F),
    "gluteus_maximus": ("muscle grand fessier", _M),
    "gluteus_medius": ("muscle moyen fessier", _M),
    "gluteus_minimus": ("muscle petit fessier", _M),
    "autochthon": ("muscle érecteur du rachis", _M),
    "iliopsoas": ("muscle iliopsoas", _M),
    "brain": ("encéphale", _M),
    "skull": ("crâne", _M),
    "sternum": ("sternum", _M),
    "costal_cartilages": ("cartilages costaux", _M),
    "brainstem": ("tronc cérébral", _M),
    "parotid_gland": ("glande parotide", _F),
    "larynx": ("larynx", _M),
    "mandible": ("mandibule", _F),
}
"""French names, with the French words for left and right, by the English name without its side."""

_FRENCH_GROUPS = {
    "organs": "organes",
    "lesions": "lésions",
    "large bones": "grands os",
    "vertebrae": "vertèbres",
    "vessels": "vaisseaux",
    "muscles": "muscles",
    "ribs": "côtes",
    "cartilage": "cartilages",
    "other": "autres",
}

_VERTEBRA = re.compile(r"vertebrae_(\w+)")
_RIB = re.compile(r"rib_(left|right)_(\d+)")


def readable(name: str, lang: Language = "en") -> str:
    """Return a structure's readable name; one without a French name stays English.

    Example:
        >>> readable("kidney_left"), readable("kidney_left", "fr"), readable("rib_right_2", "fr")
        ('kidney left', 'rein gauche', '2e côte droite')
    """
    plain = name.replace("_", " ")
    if lang == "en":
        return plain
    if found := _VERTEBRA.fullmatch(name):
        return f"vertèbre {found[1]}"
    if found := _RIB.fullmatch(name):
        return f"{'1re' if found[2] == '1' else found[2] + 'e'} côte {_F[found[1] == 'right']}"
    base, _, side = name.rpartition("_")
    if side in ("left", "right") and base in _FRENCH:
        french, sides = _FRENCH[base]
        return f"{french} {sides[side == 'right']}"
    return _FRENCH[name][0] if name in _FRENCH else plain


def readable_group(group: str, lang: Language = "en") -> str:
    """Return a group's readable name.

    Example:
        >>> readable_group("ribs", "fr"), readable_group("my own", "fr")
        ('côtes', 'my own')
    """
    return _FRENCH_GROUPS.get(group, group) if lang == "fr" else group
