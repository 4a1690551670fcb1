"""Ask the proxy as a client without credentials would: any answer below 500 is Elasticsearch's own."""

import ssl
import sys
from urllib.error import HTTPError
from urllib.request import urlopen

context = ssl.create_default_context()
# Whether clients trust the certificate is theirs to find out: this pod has not their authorities.
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
try:
    with urlopen(sys.argv[1], timeout=30, context=context) as answer:
        status = answer.status
except HTTPError as refused:
    status = refused.code
print(f"{sys.argv[1]} answers {status}")
sys.exit(status >= 500)
