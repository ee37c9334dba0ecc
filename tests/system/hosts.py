"""Several hosts: each has a daemon with its own configuration, inbox and folders, all one repository."""

from pfs_ingestd.records import PENDING, State
from system.service import Site

__all__ = ["Hosts"]


class Hosts:
    """Several hosts, and the repository that they share."""

    def __init__(self, folder, root, number, *, transfer="link"):
        self.root = root
        self.sites = []
        for host in range(number):
            place = folder / f"host-{host}"
            place.mkdir()
            # Each has the repository's configuration in a folder of its own; what it names is everybody's.
            template = place / "template"
            template.mkdir()
            text = (root / "butler.yaml").read_text().replace("<butlerRoot>", str(root))
            (template / "butler.yaml").write_text(text)
            site = Site(place, template)
            site.configure(ingest={"batch_files": 4, "probe_interval": "200ms", "transfer": transfer})
            self.sites.append(site)
        self.services = [site.start() for site in self.sites]

    def give(self, host, source, path, *, content=None):
        """Let a file arrive at a host, whole."""
        target = self.sites[host].data / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        part.write_bytes((source / path).read_bytes() if content is None else content)
        part.rename(target)

    def settled(self, files):
        """Say whether every host is through with its files."""
        for site, wanted_files in zip(self.sites, files, strict=True):
            counts = site.counts()
            if sum(counts.values()) < wanted_files or any(counts[state] for state in PENDING):
                return False
        return True

    def waiting(self):
        """Count the pfsConfigs that wait for their visits, at all hosts."""
        return sum(site.counts()[State.WAITING] for site in self.sites)

    def rejected(self):
        """Tell what was rejected, by host: path and code."""
        return {
            (host, record["path"].rpartition("/")[2], record["code"])
            for host, service in enumerate(self.services)
            for record in service.events
            if record["event"] == "file.rejected"
        }

    def close(self):
        for site in self.sites:
            site.close()
