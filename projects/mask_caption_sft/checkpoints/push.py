"""Exports go to the Hugging Face Hub."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError


def push_folder(folder: str | Path, repo: str, public: bool = False) -> str:
    """Upload an export as one commit; returns the address of the commit.

    Who one is, ``huggingface_hub`` knows (``hf auth login`` or ``HF_TOKEN``), and where, too
    (``HF_ENDPOINT``). The Hub checks the card's front matter before anything is uploaded.

    Args:
        folder: What an export has written.
        repo: ``ORGANISATION/NAME``; made if it does not exist.
        public: Whether everybody may see a repository that is made.

    Raises:
        ValueError: The Hub refuses the name, the card or the upload; the message is the Hub's.
    """
    api = HfApi()
    try:
        api.create_repo(repo, private=not public, exist_ok=True)
        found = api.upload_folder(
            repo_id=repo, folder_path=str(folder), commit_message=f'Export of {Path(folder).name}'
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        said = ' '.join(str(error).split())
        raise ValueError(
            f'Pushing {folder} to {repo} failed: {said}. The export is in {folder}. Log in with '
            f'`hf auth login`, and send it with `hf upload {repo} {folder}`.'
        ) from error
    return str(found.commit_url)
