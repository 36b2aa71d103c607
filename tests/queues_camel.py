"""Fetches all messages with libcamel, the library of Evolution, and leaves them unchanged in its
cache. Arguments: the port, the user, the password and a directory. For queues_readers.py."""

import sys

import gi

gi.require_version("Camel", "1.2")
from gi.repository import Camel


class Session(Camel.Session):
    """Logs in with the given password."""

    def do_authenticate_sync(self, service, mechanism, cancellable):
        result = service.authenticate_sync(mechanism, cancellable)
        return result == Camel.AuthenticationResult.ACCEPTED


def main():
    port, user, password, directory = sys.argv[1:]
    Camel.init(f"{directory}/data", False)
    Camel.provider_init()
    session = Session(user_data_dir=f"{directory}/data", user_cache_dir=f"{directory}/cache")
    session.set_online(True)
    store = session.add_service("facteur", "pop", Camel.ProviderType.STORE)
    settings = store.ref_settings()
    settings.set_property("host", "127.0.0.1")
    settings.set_property("port", int(port))
    settings.set_property("user", user)
    settings.set_property("security-method", Camel.NetworkSecurityMethod.NONE)
    store.set_password(password)
    store.connect_sync(None)
    folder = store.get_inbox_folder_sync(None)
    folder.refresh_info_sync(None)
    for unique_id in folder.get_uids():
        folder.get_message_sync(unique_id, None)
    store.disconnect_sync(True, None)


if __name__ == "__main__":
    main()
