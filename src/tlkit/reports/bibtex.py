"""A publication as a line of a list of references, and as an entry for BibTeX."""

from dataclasses import dataclass

_SITES = {"arXiv": "https://arxiv.org/abs", "doi": "https://doi.org"}
_CONFERENCES = {
    "AAAI": "AAAI Conference on Artificial Intelligence (AAAI)",
    "ACML": "Asian Conference on Machine Learning (ACML)",
    "CVPR": "Conference on Computer Vision and Pattern Recognition (CVPR)",
    "ICCV": "International Conference on Computer Vision (ICCV)",
    "ICLR": "International Conference on Learning Representations (ICLR)",
    "ICML": "International Conference on Machine Learning (ICML)",
    "NeurIPS": "Advances in Neural Information Processing Systems (NeurIPS)",
    "OSDI": "Symposium on Operating Systems Design and Implementation (OSDI)",
}


@dataclass(frozen=True)
class Reference:
    """A publication, or a program.

    Attributes:
        key: The key to cite it by, such as "sandler2018".
        authors: Its authors, as printed.
        title: Its title.
        venue: The journal with its volume, the conference in short, "arXiv", or a version.
        link: A DOI or an arXiv number; empty for a program.
        published: The year of a program; that of a publication is the end of its key.
        url: The address of a program; empty if it has none.
    """

    key: str
    authors: str
    title: str
    venue: str
    link: str
    published: str = ""
    url: str = ""

    @property
    def year(self) -> str:
        """The year of the publication, or of the program; empty if it is unknown."""
        return self.key[-4:] if self.key[-4:].isdecimal() else self.published

    def __str__(self) -> str:
        venue = ", ".join(filter(None, (self.venue, self.year)))
        parts = (self.authors, self.title, venue)
        ended = [each if each[-1] in ".?" else f"{each}." for each in parts]
        return " ".join(filter(None, [*ended, self.link or self.url]))

    def to_bibtex(self) -> str:
        """Return the entry for a `.bib` file.

        Examples:
            >>> title = "Adam: a method for stochastic optimization"
            >>> authors, link = "D. P. Kingma, J. Ba", "arXiv:1412.6980"
            >>> adam = Reference("kingma2015", authors, title, "ICLR", link)
            >>> print(adam.to_bibtex())
            @inproceedings{kingma2015,
              author = {D. P. Kingma and J. Ba},
              title = {{Adam: a method for stochastic optimization}},
              booktitle = {International Conference on Learning Representations (ICLR)},
              year = {2015},
              eprint = {1412.6980},
              archiveprefix = {arXiv},
              url = {https://arxiv.org/abs/1412.6980},
            }
        """
        kind, place = self._describe_place()
        fields = {
            "author": self._list_authors(),
            "title": f"{{{self.title}}}",
            **place,
            "year": self.year,
            **self._describe_link(),
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])

    def _list_authors(self) -> str:
        if not self.link and not self.authors.endswith(" and others"):
            return f"{{{self.authors}}}"  # a group, which has no first name
        return self.authors.replace(", ", " and ")

    def _describe_place(self) -> tuple[str, dict[str, str]]:
        """Return the kind of entry, and the fields of the place of publication."""
        if self.venue in _CONFERENCES:
            return "inproceedings", {"booktitle": _CONFERENCES[self.venue]}
        if not self.link:
            return "misc", {"note": self.venue}
        if self.venue == "arXiv":
            return "misc", {"howpublished": "arXiv preprint"}
        journal, _, volume = self.venue.rpartition(" ")
        volume, _, number = volume.rstrip(")").partition("(")
        return "article", {"journal": journal, "volume": volume, "number": number}

    def _describe_link(self) -> dict[str, str]:
        if not self.link:
            return {"url": self.url}
        kind, number = self.link.split(":", 1)
        url = f"{_SITES[kind]}/{number}"
        if kind == "doi":
            return {"doi": number, "url": url}
        return {"eprint": number, "archiveprefix": "arXiv", "url": url}
