"""An export goes to the Hub through ``huggingface_hub``; here to a stand-in on this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from huggingface_hub import constants

from projects.mask_caption_sft.checkpoints.model_card import model_card
from projects.mask_caption_sft.checkpoints.push import push_folder
from projects.mask_caption_sft.checkpoints.training_file import read_checkpoint


class Stub(BaseHTTPRequestHandler):
    """Answers what an upload asks for, and keeps what it was sent in ``server.got``."""

    def log_message(self, *args):
        pass

    def answer(self, content, status=200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({'sha': '0' * 40, 'id': 'me/mine', 'siblings': []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length'])).decode()
        got = self.server.got
        got['authorization'] = self.headers.get('authorization')
        if self.path.endswith('/repos/create'):
            got['repo'] = json.loads(body)
            self.answer({'url': f'{self.server.address}/me/mine'})
        elif self.path.endswith('/validate-yaml'):
            got['front matter'] = yaml.safe_load(json.loads(body)['content'].split('---')[1])
            wrong = got['front matter'].get('license') == 'refused'
            self.answer({'errors': [{'message': '"license" is unknown'}] * wrong}, 400 if wrong else 200)
        elif '/preupload/' in self.path:
            files = [dict(file, uploadMode='regular') for file in json.loads(body)['files']]
            self.answer({'files': [dict(f, shouldIgnore=False) for f in files]})
        else:
            rows = [json.loads(line) for line in body.splitlines()]
            got['files'] = {
                row['value']['path']: base64.b64decode(row['value']['content'])
                for row in rows
                if row['key'] == 'file'
            }
            self.answer({'commitUrl': f'{self.server.address}/me/mine/commit/1', 'commitOid': '1' * 40})


@pytest.fixture
def hub(monkeypatch):
    """The stand-in, as the Hub that the library talks to."""
    server = ThreadingHTTPServer(('127.0.0.1', 0), Stub)
    server.address, server.got = f'http://127.0.0.1:{server.server_port}', {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, 'ENDPOINT', server.address)
    monkeypatch.setenv('HF_TOKEN', 'hf_of_the_test')
    yield server
    server.shutdown()
    server.server_close()


def is_private(asked: dict) -> bool:
    """As huggingface_hub 0.36 asks for it, or 1.33."""
    return asked['private'] if 'private' in asked else asked['visibility'] == 'private'


def test_an_export_arrives_whole_in_a_private_repository(hub, trained_miniature, tmp_path):
    content = read_checkpoint(trained_miniature.checkpoint)
    card = model_card(content, 'run/iter_10.pth', str(trained_miniature.base), 'student', 'changes')
    (tmp_path / 'README.md').write_text(card)
    (tmp_path / 'adapter_model.safetensors').write_bytes(b'\x00\x01')
    address = push_folder(tmp_path, 'me/mine')
    assert address == f'{hub.address}/me/mine/commit/1'
    assert hub.got['repo']['name'] == 'mine'
    assert is_private(hub.got['repo'])
    assert hub.got['files']['README.md'].decode() == card
    assert hub.got['files']['adapter_model.safetensors'] == b'\x00\x01'
    assert hub.got['front matter']['model-index'][0]['results'][0]['metrics'][0]['value'] == 0.5
    assert hub.got['authorization'] == 'Bearer hf_of_the_test'
    push_folder(tmp_path, 'me/mine', public=True)
    assert not is_private(hub.got['repo'])


def test_what_the_hub_refuses_is_said_in_one_line_with_what_to_do(hub, tmp_path):
    (tmp_path / 'README.md').write_text('---\nlicense: refused\n---\n')
    with pytest.raises(ValueError, match=r'failed: .*"license" is unknown.*hf upload me/mine') as error:
        push_folder(tmp_path, 'me/mine')
    assert '\n' not in str(error.value)
    assert 'files' not in hub.got
    with pytest.raises(ValueError, match='Repo id must'):
        push_folder(tmp_path, 'no spaces please')
