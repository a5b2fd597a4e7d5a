"""What looks wrong about a dataset, in the terminal."""

from tomoseg.checks.findings import Finding
from tomoseg.language.words import speak
from tomoseg.terminal.findings import finding_lines


def test_what_is_said_of_several_scans_is_one_line():
    tilts = [Finding.warning("scan: tilt", f"Tilted by {number} degrees.", f"s{number}") for number in range(2)]
    volumes = [Finding.warning("volume", "It measures 3 ml.", name, "liver") for name in ("s0", "s1")]
    others = [Finding.error("unreadable", "cut short.", "s9"), Finding.warning("empty", "Of 3 structures.", "")]
    assert list(finding_lines([others[0], others[1], *tilts, *volumes])) == [
        "error: unreadable: s9: cut short.",
        "warning: empty: Of 3 structures.",
        "warning: scan: tilt: s0, s1: Tilted by 0 degrees. (The numbers are those of s0.)",
        "warning: volume: s0 liver: It measures 3 ml.",
        "warning: volume: s1 liver: It measures 3 ml.",
    ]


def test_what_is_decisive_names_all_of_its_scans():
    names = [f"s{number}" for number in range(9)]
    for kind, named in (("scan: upside down", ", ".join(names)), ("scan: tilt", ", ".join(names[:6]) + " and 3 more")):
        (line,) = finding_lines([Finding.warning(kind, "Seen.", name) for name in names])
        assert line == f"warning: {kind}: {named}: Seen."


def test_in_french_the_place_is_no_part_of_the_sentence():
    overlap = (
        "85% of the smaller of aorta and heart overlaps the other. Some structures do overlap; check whether these "
        "should."
    )
    speak("fr")
    try:
        (line,) = finding_lines([Finding.warning("overlap", overlap, "s1", "aorta")])
    finally:
        speak("en")
    assert line.replace("\xa0", " ").startswith(
        "attention : recouvrement : s1 aorta : aorta et heart se recouvrent : 85 % de la plus petite"
    )
